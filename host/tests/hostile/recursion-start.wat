;; Calls itself without end while it is instantiated.
(core module $m
  (func $deeper (param i32) (result i32)
    (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))
  (func $start (drop (call $deeper (i32.const 0))))
  (start $start)
  (func (export "handle") (param i32) (result i32) (i32.const 16)))
