;; Puts `transfer-encoding` into a set, and traps if that is taken.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "fields" (func $fields (result i32)))
  (import "host" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
  (data (i32.const 256) "transfer-encoding")
  (data (i32.const 280) "chunked")
  (func (export "handle") (param $call i32) (result i32)
    (call $append (call $fields) (i32.const 256) (i32.const 17) (i32.const 280) (i32.const 7) (i32.const 64))
    (if (i32.eqz (i32.load8_u (i32.const 64))) (then (unreachable)))
    (i32.const 16)))
