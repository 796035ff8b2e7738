;; Makes an integer of a number that is none.
(core module $m
  (func (export "handle") (param $call i32) (result i32)
    (i32.trunc_f64_s (f64.const nan))))
