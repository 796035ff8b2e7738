;; An HTTP handler that throws away what it could answer with, and goes on for ever.
(core module $m
  (import "libc" "memory" (memory 1))
  (import "host" "drop-out" (func $drop-out (param i32)))
  (func (export "handle") (param $request i32) (param $out i32)
    (call $drop-out (local.get $out))
    (loop $again (br $again))))
