;; An HTTP handler that answers twice.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "fields" (func $fields (result i32)))
  (import "host" "response" (func $response (param i32) (result i32)))
  (import "host" "set" (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (func (export "handle") (param $request i32) (param $out i32)
    (local $answer i32)
    (local.set $answer (call $response (call $fields)))
    (call $set (local.get $out) (i32.const 0) (local.get $answer)
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (local.set $answer (call $response (call $fields)))
    (call $set (local.get $out) (i32.const 0) (local.get $answer)
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
