#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Generates each role's ClusterRole from the markers in its controllers, and gives the chart its copies of CRDs and roles.
set -euo pipefail
cd "$(dirname "$0")/.."

for role in market supplier buyer; do
	paths=("paths=./controllers/$role/...")
	if [ "$role" != market ]; then # suppliers and buyers are members
		paths+=("paths=./controllers/member/stakeposition")
	fi
	go tool -modfile=hack/tools/go.mod controller-gen \
		"rbac:roleName=bourse-$role,fileName=$role-role.yaml" "${paths[@]}" output:rbac:dir=config/rbac
done
# What a supplier may do in a hub that is another cluster.
go tool -modfile=hack/tools/go.mod controller-gen \
	"rbac:roleName=bourse-member,fileName=member-roles.yaml" paths=./controllers/member output:rbac:dir=config/rbac

files=charts/bourse/files
rm -rf "$files"
mkdir -p "$files/crds" "$files/rbac"
cp config/crd/bases/*.yaml "$files/crds/"
cp config/rbac/{market,supplier,buyer}-role.yaml config/rbac/{member,user}-roles.yaml "$files/rbac/"
