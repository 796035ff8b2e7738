;; Logs at a level that does not exist.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "log" (func $log (param i32 i32 i32)))
  (data (i32.const 256) "text")
  (func (export "handle") (param $call i32) (result i32)
    (call $log (i32.const 77) (i32.const 256) (i32.const 4))
    (i32.const 16)))
