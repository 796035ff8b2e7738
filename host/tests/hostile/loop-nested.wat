;; Loops for ever while a component within it is instantiated.
(component $inner
  (core module $spins (func $start (loop $again (br $again))) (start $start))
  (core instance (instantiate $spins)))
(instance (instantiate $inner))
(core module $m
  (func (export "handle") (param i32) (result i32) (i32.const 16)))
