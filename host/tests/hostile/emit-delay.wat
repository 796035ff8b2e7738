;; Returns an event that is to wait for 584 million years.
(core module $m
  (import "libc" "memory" (memory 1))
  (data (i32.const 256) "x")
  (func (export "handle") (param $call i32) (result i32)
    (i32.store (i32.const 24) (i32.const 1024))
    (i32.store (i32.const 28) (i32.const 1))
    (i32.store (i32.const 1024) (i32.const 256))
    (i32.store (i32.const 1028) (i32.const 1))
    (i32.store8 (i32.const 1064) (i32.const 1))
    (i64.store (i32.const 1072) (i64.const -1))
    (i32.const 16)))
