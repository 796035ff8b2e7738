;; Sleeps for nine seconds, a little less than it may, and succeeds.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "host" "block" (func $block (param i32)))
  (func (export "handle") (param $call i32) (result i32)
    (call $block (call $subscribe (i64.const 9000000000)))
    (i32.const 16)))
