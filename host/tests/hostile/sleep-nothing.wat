;; Sleeps for no time, for ever.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "host" "block" (func $block (param i32)))
  (import "host" "drop-pollable" (func $drop-pollable (param i32)))
  (func (export "handle") (param $call i32) (result i32)
    (local $clock i32)
    (loop $again
      (call $block (local.tee $clock (call $subscribe (i64.const 0))))
      (call $drop-pollable (local.get $clock))
      (br $again))
    (unreachable)))
