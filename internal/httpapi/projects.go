package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/session"
)

func (a *API) projectRoutes() {
	route(a, huma.Operation{
		OperationID: "list-projects", Method: http.MethodGet, Path: "/v1/projects", Tags: []string{"Projects"},
		Summary:     "List projects, with what they use and may have",
		Description: "Those that have a quota of their own, a token or sessions. A token of one project sees that one.",
	}, a.listProjects)
	route(a, huma.Operation{
		OperationID: "set-project", Method: http.MethodPut, Path: "/v1/projects/{project}", Tags: []string{"Projects"},
		Summary:     "Give a project a quota of its own",
		Description: "For admins. It replaces the one that it had; what the project has beyond it stays.",
	}, a.setProject)
	route(a, huma.Operation{
		OperationID: "delete-project", Method: http.MethodDelete, Path: "/v1/projects/{project}",
		Tags:        []string{"Projects"},
		Summary:     "Take a project's own quota away",
		Description: "For admins. The server's policy is its quota then; sessions and tokens stay.",
	}, a.deleteProject)
}

type projectsOutput struct {
	Body v1.ProjectList
}

func (a *API) listProjects(ctx context.Context, _ *struct{}) (*projectsOutput, error) {
	views, err := a.service.ListProjects(ctx, front.PrincipalOf(ctx))
	if err != nil {
		return nil, err
	}
	out := &projectsOutput{Body: v1.ProjectList{Projects: make([]v1.Project, len(views))}}
	for i, v := range views {
		out.Body.Projects[i] = fromProject(v)
	}
	return out, nil
}

type setProjectInput struct {
	Project string `path:"project"`
	Body    v1.Quota
}

type projectOutput struct {
	Body v1.Project
}

func (a *API) setProject(ctx context.Context, in *setProjectInput) (*projectOutput, error) {
	view, err := a.service.SetProject(ctx, front.PrincipalOf(ctx),
		session.Project{ID: in.Project, Quota: toQuota(in.Body)})
	if err != nil {
		return nil, err
	}
	return &projectOutput{Body: fromProject(view)}, nil
}

type projectPath struct {
	Project string `path:"project"`
}

func (a *API) deleteProject(ctx context.Context, in *projectPath) (*struct{}, error) {
	return nil, a.service.DeleteProject(ctx, front.PrincipalOf(ctx), in.Project)
}
