;; Traps while it is instantiated.
(core module $m
  (func $start (unreachable))
  (start $start)
  (func (export "handle") (param i32) (result i32) (i32.const 16)))
