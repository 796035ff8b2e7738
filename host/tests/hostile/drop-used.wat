;; Waits for a handle that it has given back.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "host" "drop-pollable" (func $drop-pollable (param i32)))
  (import "host" "block" (func $block (param i32)))
  (func (export "handle") (param $call i32) (result i32)
    (local $handle i32)
    (call $drop-pollable (local.tee $handle (call $subscribe (i64.const 0))))
    (call $block (local.get $handle))
    (i32.const 16)))
