;; Writes 100 MB to its standard output, without the end of a line.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "get-stdout" (func $get-stdout (result i32)))
  (import "host" "write" (func $write (param i32 i32 i32 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32) (local $out i32)
    (local.set $out (call $get-stdout))
    (local.set $left (i32.const 25000))
    (loop $more
      (call $write (local.get $out) (i32.const 65536) (i32.const 4096) (i32.const 64))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 16)))
