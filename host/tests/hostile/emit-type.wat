;; Returns an event whose type has 100,000 characters.
(core module $m
  (import "libc" "memory" (memory 1))
  (func (export "handle") (param $call i32) (result i32)
    (memory.fill (i32.const 65536) (i32.const 0x78) (i32.const 100000))
    (i32.store (i32.const 24) (i32.const 1024))
    (i32.store (i32.const 28) (i32.const 1))
    (i32.store (i32.const 1024) (i32.const 65536))
    (i32.store (i32.const 1028) (i32.const 100000))
    (i32.const 16)))
