;; Logs a line that would be two, moves the cursor, and has a NUL in it.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "log" (func $log (param i32 i32 i32)))
  (data (i32.const 256) "fine\0a2026-01-01 ERROR forged\1b[2J\00\e2\80\ae end")
  (func (export "handle") (param $call i32) (result i32)
    (call $log (i32.const 2) (i32.const 256) (i32.const 40))
    (i32.const 16)))
