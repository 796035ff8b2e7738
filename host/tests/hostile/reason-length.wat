;; Rejects with a reason that is longer than its memory.
(core module $m
  (import "libc" "memory" (memory 1))
  (func (export "handle") (param $call i32) (result i32)
    (i32.store (i32.const 16) (i32.const 1))
    (i32.store (i32.const 24) (i32.const 1))
    (i32.store (i32.const 32) (i32.const 256))
    (i32.store (i32.const 36) (i32.const 0x7fffffff))
    (i32.const 16)))
