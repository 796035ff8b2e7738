;; Writes a value of 1 MB, and traps if that is taken.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "kv-set" (func $kv-set (param i32 i32 i32 i32 i32)))
  (data (i32.const 256) "k")
  (func (export "handle") (param $call i32) (result i32)
    (call $kv-set (i32.const 256) (i32.const 1) (i32.const 65536) (i32.const 1000000) (i32.const 64))
    (if (i32.eqz (i32.load8_u (i32.const 64))) (then (unreachable)))
    (i32.const 16)))
