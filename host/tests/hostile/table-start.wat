;; Declares a table larger than any may be.
(core module $m
  (table 100000000 funcref)
  (func (export "handle") (param i32) (result i32) (i32.const 16)))
