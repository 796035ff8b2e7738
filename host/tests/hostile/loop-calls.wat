;; Loops for ever, calling itself through a table in every round.
(core module $m
  (table 1 1 funcref)
  (elem (i32.const 0) $none)
  (func $none)
  (func (export "handle") (param $call i32) (result i32)
    (loop $again (call_indirect (i32.const 0)) (br $again))
    (unreachable)))
