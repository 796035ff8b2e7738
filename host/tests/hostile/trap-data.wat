;; Puts data beyond its memory while it is instantiated.
(core module $m
  (memory (export "memory") 1)
  (data (i32.const 65535) "ab")
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "handle") (param i32) (result i32) (i32.const 16)))
