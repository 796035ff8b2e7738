;; Reads a key, with which the host has a bug.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "kv-get" (func $kv-get (param i32 i32 i32)))
  (data (i32.const 256) "k")
  (func (export "handle") (param $call i32) (result i32)
    (call $kv-get (i32.const 256) (i32.const 1) (i32.const 64))
    (i32.const 16)))
