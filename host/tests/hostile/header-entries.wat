;; Puts a million headers into one set.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "fields" (func $fields (result i32)))
  (import "host" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
  (data (i32.const 256) "x-a")
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32) (local $fields i32)
    (local.set $fields (call $fields))
    (local.set $left (i32.const 1000000))
    (loop $more
      (call $append (local.get $fields) (i32.const 256) (i32.const 3) (i32.const 256) (i32.const 3) (i32.const 64))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 16)))
