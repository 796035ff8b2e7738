;; Divides the smallest number by -1, which overflows.
(core module $m
  (func (export "handle") (param $call i32) (result i32)
    (i32.div_s (i32.const 0x80000000) (i32.const -1))))
