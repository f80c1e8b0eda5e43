package deploy

import (
	"slices"
	"strings"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// forge is where the senders that host git repositories say what an event is
// about. Both take a decoded payload.
type forge struct {
	repositories func(any) []string // "owner/name"
	branches     func(any) []string // without refs/heads/
}

// forges are those senders, by kind. The places are those of their own
// documentation: "Webhook events and payloads" (GitHub), "Webhook events"
// (GitLab), "Event payloads" (Bitbucket Cloud and Data Center). Gitea and Forgejo
// have the members of GitHub's that are named here.
var forges = map[string]forge{
	trigger.GitHub:    {atFullName, gitHubBranches},
	trigger.Gitea:     {atFullName, gitHubBranches},
	trigger.Forgejo:   {atFullName, gitHubBranches},
	trigger.GitLab:    {func(v any) []string { return textsAt(v, "project.path_with_namespace") }, gitLabBranches},
	trigger.Bitbucket: {bitbucketRepositories, bitbucketBranches},
}

func (m *Matcher) addForge(kind string, f Filter) error {
	where, ok := forges[kind]
	switch {
	case ok:
	case len(f.Repositories) > 0:
		return misplaced("repositories", kind)
	case len(f.Branches) > 0:
		return misplaced("branches", kind)
	}
	lower := make([]string, len(f.Repositories))
	for i, r := range f.Repositories {
		lower[i] = strings.ToLower(r)
	}
	err := m.add(lower, func(v any) []string {
		names := where.repositories(v)
		for i := range names {
			names[i] = strings.ToLower(names[i]) // no forge has two names that differ in case alone
		}
		return names
	})
	if err != nil {
		return err
	}
	return m.add(f.Branches, where.branches)
}

func atFullName(v any) []string { return textsAt(v, "repository.full_name") }

// gitHubBranches: the branch that was pushed, made or deleted, that a pull
// request is to be merged into, or that a check ran for.
func gitHubBranches(v any) []string {
	if textAt(v, "ref_type") == "tag" {
		return nil
	}
	return branchesAt(v, "ref", "pull_request.base.ref", "merge_group.base_ref", "workflow_run.head_branch", "workflow_job.head_branch",
		"check_suite.head_branch", "check_run.check_suite.head_branch", "branches.name")
}

// gitLabPlaces of the branch, by object_kind.
var gitLabPlaces = map[string]string{
	"push": "ref", "build": "ref", "deployment": "ref", "pipeline": "object_attributes.ref",
	"merge_request": "object_attributes.target_branch", "note": "merge_request.target_branch",
}

func gitLabBranches(v any) []string {
	tag := false
	for _, path := range []string{"tag", "object_attributes.tag"} {
		each(v, path, func(found any) { tag = tag || found == true })
	}
	place, ok := gitLabPlaces[textAt(v, "object_kind")]
	if tag || !ok {
		return nil
	}
	return branchesAt(v, place)
}

// bitbucketRepositories: Data Center has no full name, and names the repository
// of a pull request only there.
func bitbucketRepositories(v any) []string {
	names := atFullName(v)
	for _, path := range []string{"repository", "pullRequest.toRef.repository"} {
		each(v, path, func(r any) {
			if project, slug := textAt(r, "project.key"), textAt(r, "slug"); project != "" && slug != "" {
				names = append(names, project+"/"+slug)
			}
		})
	}
	return names
}

// bitbucketBranches: a push can change several. Of one that is deleted, Cloud
// names only what was there before.
func bitbucketBranches(v any) []string {
	names := branchesAt(v, "pullrequest.destination.branch.name", "commit_status.refname", "changes.ref.id", "pullRequest.toRef.id")
	for _, path := range []string{"push.changes.new", "push.changes.old"} {
		each(v, path, func(ref any) {
			if textAt(ref, "type") == "branch" {
				names = append(names, textsAt(ref, "name")...)
			}
		})
	}
	return names
}

const headsPrefix = "refs/heads/"

// branchesAt are the names of branches at some paths: as they are, or as refs, of
// which those that are no branches are left out.
func branchesAt(v any, paths ...string) []string {
	var names []string
	for _, path := range paths {
		for _, s := range textsAt(v, path) {
			names = append(names, strings.TrimPrefix(s, headsPrefix))
		}
	}
	return slices.DeleteFunc(names, func(s string) bool { return strings.HasPrefix(s, "refs/") })
}
