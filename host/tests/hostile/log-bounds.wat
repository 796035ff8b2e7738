;; Logs text beyond its memory.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "log" (func $log (param i32 i32 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (call $log (i32.const 2) (i32.const 0xfffffff0) (i32.const 64))
    (i32.const 16)))
