;; Returns a list that does not begin where its elements may.
(core module $m
  (import "libc" "memory" (memory 1))
  (func (export "handle") (param $call i32) (result i32)
    (i32.store (i32.const 24) (i32.const 65537))
    (i32.store (i32.const 28) (i32.const 1))
    (i32.const 16)))
