module github.com/bourse-dev/bourse/program/sbpfld

go 1.26.0
