;; Logs one line of 100 MB.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "log" (func $log (param i32 i32 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (drop (memory.grow (i32.const 1600)))
    (memory.fill (i32.const 65536) (i32.const 0x78) (i32.const 100000000))
    (call $log (i32.const 2) (i32.const 65536) (i32.const 100000000))
    (i32.const 16)))
