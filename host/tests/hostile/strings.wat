;; Returns an event whose data is a list of 1,000,000 bytes, 200 times over the same memory.
(core module $m
  (import "libc" "memory" (memory 1))
  (data (i32.const 256) "x")
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32) (local $event i32)
    (i32.store (i32.const 24) (i32.const 65536))
    (i32.store (i32.const 28) (i32.const 200))
    (local.set $left (i32.const 200))
    (loop $more
      (local.set $event (i32.add (i32.const 65480) (i32.mul (local.get $left) (i32.const 56))))
      (i32.store (local.get $event) (i32.const 256))
      (i32.store offset=4 (local.get $event) (i32.const 1))
      (i32.store offset=36 (local.get $event) (i32.const 1000000))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 16)))
