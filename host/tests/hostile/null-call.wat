;; Calls through a table a function that is not there.
(core module $m
  (table 1 1 funcref)
  (func (export "handle") (param $call i32) (result i32)
    (call_indirect (result i32) (i32.const 0))))
