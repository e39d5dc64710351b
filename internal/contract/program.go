// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// programDomain begins what the digest of a program is over. Another encoding gets another number.
const programDomain = "bourse.dev/program/v1"

// ProgramDigest returns the SHA-256 of what a lease runs. It is over a list of texts, each with its length before it in eight bytes, the
// least significant first: "bourse.dev/program/v1", the salt, the image, the version, the entrypoint and the program's text; the worker's
// CPU and memory and the head's, as Kubernetes writes quantities; then the name and the value of each variable, in their order. A variable
// without a value has the empty one, as in the container.
func ProgramDigest(salt boursev1.Salt, program *boursev1.RayProgram) boursev1.SHA256 {
	var encoded []byte
	add := func(texts ...string) {
		for _, text := range texts {
			encoded = binary.LittleEndian.AppendUint64(encoded, uint64(len(text)))
			encoded = append(encoded, text...)
		}
	}
	add(programDomain, string(salt), program.Image, program.Version, program.Entrypoint, program.Program)
	add(program.WorkerCPU.String(), program.WorkerMemory.String(), program.HeadCPU.String(), program.HeadMemory.String())
	for _, variable := range program.Env {
		var value string
		if variable.Value != nil {
			value = *variable.Value
		}
		add(variable.Name, value)
	}
	sum := sha256.Sum256(encoded)
	return boursev1.SHA256(hex.EncodeToString(sum[:]))
}

// Ending returns what ends a lease that runs the program: the program itself, or the term of an interactive cluster.
func Ending(program *boursev1.RayProgram) boursev1.LeaseEnding {
	if program.Entrypoint == "" {
		return boursev1.EndsWithTerm
	}
	return boursev1.EndsWithProgram
}

// Runs says where a program departs from what the lease names, as the end of a sentence that begins with "the lease", or nothing. The
// buyer asks it of its job's program, and the supplier of the program that it was given.
func Runs(lease *boursev1.GPULease, salt boursev1.Salt, program *boursev1.RayProgram) string {
	switch {
	case lease.Spec.ProgramSHA256 != ProgramDigest(salt, program):
		return "is for another Ray program"
	case lease.Spec.Ends != Ending(program):
		return "does not end as its Ray program does"
	}
	return ""
}
