// SPDX-License-Identifier: Apache-2.0

// Package matrix tests the built lease program on a local chain, deployed through the real loader.
// It encodes everything by itself and shares no code with the rest of Bourse, so that the two check each other.
package matrix
