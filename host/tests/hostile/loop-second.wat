;; Loops for ever while its second core module is instantiated; the first one is innocent.
(core module $innocent)
(core instance (instantiate $innocent))
(core module $spins (func $start (loop $again (br $again))) (start $start))
(core instance (instantiate $spins))
(core module $m
  (func (export "handle") (param i32) (result i32) (i32.const 16)))
