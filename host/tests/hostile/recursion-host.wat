;; Calls itself without end, and the host in every call.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "host" "drop-pollable" (func $drop-pollable (param i32)))
  (func $deeper (param i32) (result i32)
    (call $drop-pollable (call $subscribe (i64.const 0)))
    (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))
  (func (export "handle") (param $call i32) (result i32)
    (call $deeper (i32.const 0))))
