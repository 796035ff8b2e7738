;; Reads `../audit/key` and `audit/key`, which to its host are keys of its own like any other, and traps if it finds
;; anything.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "kv-get" (func $kv-get (param i32 i32 i32)))
  (data (i32.const 256) "../audit/key")
  (func (export "handle") (param $call i32) (result i32)
    (call $kv-get (i32.const 256) (i32.const 12) (i32.const 64))
    (if (i32.or (i32.load8_u (i32.const 64)) (i32.load8_u (i32.const 68))) (then (unreachable)))
    (call $kv-get (i32.const 259) (i32.const 9) (i32.const 64))
    (if (i32.or (i32.load8_u (i32.const 64)) (i32.load8_u (i32.const 68))) (then (unreachable)))
    (i32.const 16)))
