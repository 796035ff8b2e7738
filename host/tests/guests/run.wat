;; A command as a component: CODE is what it returns, 0 for success and 1 for failure. The test puts it there.
(component
  (core module $m (func (export "run") (result i32) (i32.const CODE)))
  (core instance $guest (instantiate $m))
  (func $run (result (result)) (canon lift (core func $guest "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
