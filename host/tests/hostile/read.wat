;; Reads 4 GiB from a standard input that has nothing, for ever.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "get-stdin" (func $get-stdin (result i32)))
  (import "host" "read" (func $read (param i32 i64 i32)))
  (func (export "handle") (param $call i32) (result i32)
    (local $in i32)
    (local.set $in (call $get-stdin))
    (loop $again
      (call $read (local.get $in) (i64.const 0xffffffff) (i32.const 64))
      (br $again))
    (unreachable)))
