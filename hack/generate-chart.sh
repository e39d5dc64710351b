#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Generates each role's ClusterRole from the markers in its controllers, and those of the join server and the gateway from their adapters',
# and gives the chart its copies of CRDs and roles.
set -euo pipefail
cd "$(dirname "$0")/.."

for role in market supplier buyer; do
	paths=("paths=./controllers/$role/...")
	if [ "$role" != market ]; then # suppliers and buyers are members
		paths+=("paths=./controllers/member/...")
	fi
	if [ "$role" = supplier ]; then # it answers through the tunnel, too
		paths+=("paths=./internal/leaseview/...")
	fi
	go tool -modfile=hack/tools/go.mod controller-gen \
		"rbac:roleName=bourse-$role,fileName=$role-role.yaml" "${paths[@]}" output:rbac:dir=config/rbac
done

go tool -modfile=hack/tools/go.mod controller-gen \
	"rbac:roleName=bourse-join,fileName=join-role.yaml" "paths=./internal/hubjoin/..." output:rbac:dir=config/rbac

go tool -modfile=hack/tools/go.mod controller-gen \
	"rbac:roleName=bourse-gateway,fileName=gateway-role.yaml" "paths=./internal/gateway/..." output:rbac:dir=config/rbac

files=charts/bourse/files
rm -rf "$files"
mkdir -p "$files/crds" "$files/rbac"
cp config/crd/bases/*.yaml "$files/crds/"
cp config/rbac/{market,supplier,buyer,join,gateway,member}-role.yaml config/rbac/user-roles.yaml "$files/rbac/"
