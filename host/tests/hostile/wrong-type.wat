;; Calls a function through a table as if it were of another type.
(core module $m
  (type $other (func (param i32) (result i32)))
  (table 1 1 funcref)
  (elem (i32.const 0) $none)
  (func $none)
  (func (export "handle") (param $call i32) (result i32)
    (call_indirect (type $other) (i32.const 0) (i32.const 0))))
