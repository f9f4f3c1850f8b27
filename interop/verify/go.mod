module chancery/interop/verify

go 1.21
