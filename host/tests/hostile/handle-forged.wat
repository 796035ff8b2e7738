;; Waits for a handle that it has made up.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "block" (func $block (param i32)))
  (func (export "handle") (param $call i32) (result i32)
    (call $block (i32.const 123456789))
    (i32.const 16)))
