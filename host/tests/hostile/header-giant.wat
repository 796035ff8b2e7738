;; Puts a header of 1 MB into a set.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "fields" (func $fields (result i32)))
  (import "host" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
  (data (i32.const 256) "x-a")
  (func (export "handle") (param $call i32) (result i32)
    (memory.fill (i32.const 65536) (i32.const 0x78) (i32.const 1000000))
    (call $append (call $fields) (i32.const 256) (i32.const 3) (i32.const 65536) (i32.const 1000000) (i32.const 64))
    (i32.const 16)))
