;; Two functions that call one another through a table, without end.
(core module $m
  (type $f (func (param i32) (result i32)))
  (table 2 2 funcref)
  (elem (i32.const 0) $even $odd)
  (func $even (type $f) (i32.add (i32.const 1) (call_indirect (type $f) (local.get 0) (i32.const 1))))
  (func $odd (type $f) (i32.add (i32.const 1) (call_indirect (type $f) (local.get 0) (i32.const 0))))
  (func (export "handle") (param $call i32) (result i32)
    (call_indirect (type $f) (local.get $call) (i32.const 0))))
