;; Rejects with a reason of 1 MB, all of it escape characters.
(core module $m
  (import "libc" "memory" (memory 1))
  (func (export "handle") (param $call i32) (result i32)
    (memory.fill (i32.const 65536) (i32.const 0x1b) (i32.const 1000000))
    (i32.store (i32.const 16) (i32.const 1))
    (i32.store (i32.const 24) (i32.const 1))
    (i32.store (i32.const 32) (i32.const 65536))
    (i32.store (i32.const 36) (i32.const 1000000))
    (i32.const 16)))
