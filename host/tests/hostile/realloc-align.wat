;; Gives the host room that is not aligned.
(core module $m
  (memory (export "memory") 2)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32)
    (i32.const 1025))
  (func (export "handle") (param i32) (result i32) (i32.const 16)))
