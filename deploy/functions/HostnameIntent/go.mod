module hostnameintent

go 1.26
