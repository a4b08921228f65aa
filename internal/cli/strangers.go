package cli

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/octobot-run/octobot/api/v1"
)

const otherInstallations = "other installations"

// strangers are another installation's containers on the daemon's engine.
type strangers struct {
	seen string
	do   string // what can be done about them
}

// strangersOf tells of each other installation that a dry run has found.
func strangersOf(report v1.ReconcileReport) []strangers {
	var instances []string
	sessions := make(map[string][]string)
	for _, f := range report.Fates {
		if f.Instance == "" {
			continue
		}
		if sessions[f.Instance] == nil {
			instances = append(instances, f.Instance)
		}
		sessions[f.Instance] = append(sessions[f.Instance], f.SessionID)
	}
	var found []strangers
	for _, instance := range instances {
		ids := sessions[instance]
		slices.Sort(ids)
		const most = 5
		some := strings.Join(ids[:min(len(ids), most)], ", ")
		if len(ids) > most {
			some += fmt.Sprintf(" and %d more", len(ids)-most)
		}
		found = append(found, strangers{
			fmt.Sprintf("%s has %s on this engine, whose IDs are taken: %s", instance,
				plural(int64(len(ids)), "container"), some),
			fmt.Sprintf("nothing, where it runs; where its store is lost, octobot adopt %s takes them over, "+
				"and octobot reconcile --allow-removals --instance %s removes them", instance, instance),
		})
	}
	return found
}
