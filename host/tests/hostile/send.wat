;; Sends 100 requests that nobody has granted.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "fields" (func $fields (result i32)))
  (import "host" "request" (func $request (param i32) (result i32)))
  (import "host" "set-authority" (func $set-authority (param i32 i32 i32 i32) (result i32)))
  (import "host" "set-path" (func $set-path (param i32 i32 i32 i32) (result i32)))
  (import "host" "send" (func $send (param i32 i32 i32 i32)))
  (data (i32.const 256) "192.0.2.1:80/")
  (func (export "handle") (param $call i32) (result i32)
    (local $left i32) (local $request i32)
    (local.set $left (i32.const 100))
    (loop $more
      (local.set $request (call $request (call $fields)))
      (drop (call $set-authority (local.get $request) (i32.const 1) (i32.const 256) (i32.const 12)))
      (drop (call $set-path (local.get $request) (i32.const 1) (i32.const 268) (i32.const 1)))
      (call $send (local.get $request) (i32.const 0) (i32.const 0) (i32.const 512))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 16)))
