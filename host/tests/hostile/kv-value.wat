;; Writes a value of 1 GiB, of which it has no byte.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "kv-set" (func $kv-set (param i32 i32 i32 i32 i32)))
  (data (i32.const 256) "k")
  (func (export "handle") (param $call i32) (result i32)
    (call $kv-set (i32.const 256) (i32.const 1) (i32.const 0) (i32.const 1073741824) (i32.const 64))
    (i32.const 16)))
