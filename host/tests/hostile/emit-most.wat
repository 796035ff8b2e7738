;; Returns as many events as are taken, none of them longer than its type.
(core module $m
  (import "libc" "memory" (memory 1))
  (data (i32.const 256) "nobody.wants.it")
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32) (local $event i32)
    (i32.store (i32.const 24) (i32.const 65536))
    (i32.store (i32.const 28) (i32.const 256))
    (local.set $event (i32.const 65536))
    (local.set $left (i32.const 256))
    (loop $more
      (i32.store (local.get $event) (i32.const 256))
      (i32.store offset=4 (local.get $event) (i32.const 15))
      (local.set $event (i32.add (local.get $event) (i32.const 56)))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 16)))
