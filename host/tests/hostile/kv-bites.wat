;; Computes for ever in bites of less than a millisecond, and waits for its store after each.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "kv-get" (func $kv-get (param i32 i32 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32)
    (i32.store8 (i32.const 256) (i32.const 107))
    (loop $again
      (local.set $left (i32.const 200000))
      (loop $more
        (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (call $kv-get (i32.const 256) (i32.const 1) (i32.const 64))
      (br $again))
    (unreachable)))
