;; An HTTP handler that never answers.
(core module $m
  (import "libc" "memory" (memory 1))
  (func (export "handle") (param $request i32) (param $out i32)
    (loop $again (br $again))))
