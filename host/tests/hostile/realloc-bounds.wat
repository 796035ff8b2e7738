;; Gives the host room beyond its memory.
(core module $m
  (memory (export "memory") 2)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32)
    (i32.const 0xfffffff0))
  (func (export "handle") (param i32) (result i32) (i32.const 16)))
